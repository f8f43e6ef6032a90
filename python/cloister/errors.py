"""Every error that cloister raises on purpose.

Each one derives from the builtin that a caller would expect (`ValueError`, `TypeError`, ...),
names the argument at fault, shows the number found beside the number allowed, and says the way
out. Errors are owner-side: their texts may describe private rows and are not covered by the
privacy guarantee.
"""


class CloisterError(Exception):
    """Base class of all errors raised on purpose."""


class InvalidInput(CloisterError, ValueError):
    """A value of an argument is outside what is documented."""


class InvalidType(CloisterError, TypeError):
    """An argument has a type or dtype that is not accepted."""


class BudgetExceeded(CloisterError, RuntimeError):
    """A fit would cost more privacy than its budget has left; no row was read."""


class LedgerError(CloisterError, RuntimeError):
    """A ledger file cannot be opened, understood or trusted."""


class ModelFileError(CloisterError, ValueError):
    """A model file cannot be read, or does not fit what it is used for."""


class DeviceError(CloisterError, RuntimeError):
    """The device asked for is not available in this build or on this machine."""


class MissingDependency(CloisterError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class PublicClassesWarning(UserWarning):
    """The list of classes was read off the labels, and is thereby public."""


class DeviceWarning(UserWarning):
    """`device="auto"` found no GPU that it can use and takes the processor: the same results."""
