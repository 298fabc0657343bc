// What a call of the core answers: a code and, unless it is ok, a message for the person who made the call.
#pragma once

#include <string>
#include <utility>

namespace spinecore {

enum class StatusCode : int {
  ok = 0,
  wrong_type,   // a dtype the operator does not take     (Python: TypeError)
  wrong_value,  // a shape, stride, device or option      (Python: ValueError)
  internal,     // the machine failed us, not the caller  (Python: RuntimeError)
};

struct [[nodiscard]] Status {
  StatusCode code = StatusCode::ok;
  std::string message;

  bool ok() const { return code == StatusCode::ok; }
  static Status wrong_type(std::string text) { return {StatusCode::wrong_type, std::move(text)}; }
  static Status wrong_value(std::string text) { return {StatusCode::wrong_value, std::move(text)}; }
  static Status internal(std::string text) { return {StatusCode::internal, std::move(text)}; }
};

}  // namespace spinecore
