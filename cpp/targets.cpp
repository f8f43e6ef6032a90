// Which instruction set is used: the best that the processor has, unless a test chose another.
#include "targets.hpp"

#include <atomic>
#include <cstring>

namespace cloister {
namespace {

const Targets* const tables[] = {&avx512_targets, &avx2_targets, &generic_targets};

const Targets* best() {
  for (const Targets* table : tables) {
    if (table->supported()) return table;
  }
  return &generic_targets;
}

std::atomic<const Targets*>& active() {
  static std::atomic<const Targets*> table{best()};
  return table;
}

const Targets* find(const char* name) {
  for (const Targets* table : tables) {
    if (std::strcmp(table->name, name) == 0 && table->supported()) return table;
  }
  return nullptr;
}

}  // namespace

const Targets& targets() { return *active().load(); }

const char* target_name() { return targets().name; }

bool target_supported(const char* name) { return find(name) != nullptr; }

bool use_target(const char* name) {
  const Targets* table = find(name);
  if (table) active().store(table);
  return table != nullptr;
}

int64_t device_count() { return 1; }

}  // namespace cloister
