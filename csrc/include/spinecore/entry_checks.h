// What every checked entry does the same way.
#pragma once

#include <initializer_list>
#include <string>

#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore {

// The checks of one call are cheap and safe on any view: all run, the first complaint is the one that is answered.
inline Status first_complaint(std::initializer_list<Status> checks) {
  for (const Status& status : checks) {
    if (!status.ok()) return status;
  }
  return {};
}

// What is written shares memory with nothing else.
inline Status check_apart_all(const char* op, std::initializer_list<const TensorView*> written,
                              std::initializer_list<const TensorView*> read) {
  for (const TensorView* const* out = written.begin(); out != written.end(); ++out) {
    if ((*out)->numel() == 0) continue;
    for (const TensorView* const* other = out + 1; other != written.end(); ++other) {
      Status status = check_apart(op, **out, **other);
      if (!status.ok()) return status;
    }
    for (const TensorView* other : read) {
      Status status = check_apart(op, **out, *other);
      if (!status.ok()) return status;
    }
  }
  return {};
}

// Memory to work in: at least as much as the geometry needs, aligned to doubles.
inline Status check_workspace(const char* op, const TensorView& workspace, int64_t needed) {
  Status status = check_float32(op, workspace, {workspace.numel()});
  if (!status.ok()) return status;
  if (workspace.numel() < needed) {
    return Status::wrong_value(std::string(op) + ": argument 'workspace' has " + std::to_string(workspace.numel()) +
                               " elements, expected at least " + std::to_string(needed));
  }
  if (reinterpret_cast<uintptr_t>(workspace.data) % alignof(double) != 0) {
    return Status::wrong_value(std::string(op) + ": argument 'workspace' is not aligned to 8 bytes: allocate it");
  }
  return {};
}

inline Status thread_failure(const char* op) {
  return Status::internal(std::string(op) +
                          ": the borrowed thread pool reported a failure; the results are incomplete");
}

}  // namespace spinecore
