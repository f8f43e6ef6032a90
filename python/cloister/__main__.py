"""`python -m cloister` is `cloister`."""

from cloister.cli import main

main(prog_name="cloister")
