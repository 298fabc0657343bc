// torch tensors as views, without torch: through the DLPack C exchange API that torch.Tensor carries on its type, and
// for a torch that has none through data_ptr() and the attributes.
#include "tensor_caster.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

namespace spinecore {
namespace dlpack {

// The few structures of the DLPack 1.x ABI that are read here (https://github.com/dmlc/dlpack).
struct Device {
  int32_t type;
  int32_t id;
};
struct DataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct Tensor {
  void* data;
  Device device;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct ExchangeApi {
  struct {
    uint32_t major, minor;
  } version;
  ExchangeApi* previous;
  void* allocate;
  void* managed_from_object;
  void* managed_to_object;
  int (*tensor_from_object)(void* object, Tensor* out);  // borrows, -1 with a Python exception set
  void* current_work_stream;
};

constexpr int32_t cpu = 1, cuda = 2, cuda_host = 3;
constexpr uint8_t code_float = 2, code_bfloat = 4;

// What is known of a type of tensors.
struct TensorType {
  PyTypeObject* type = nullptr;
  const ExchangeApi* api = nullptr;
  // Subclasses with a __torch_dispatch__ of their own, as FakeTensor has, stand for memory that lies elsewhere or
  // nowhere. The address they give is not to be followed: at an offset into no storage it is not even null.
  bool has_memory = false;
};

bool has_own_dispatch(PyTypeObject* type) {
  const auto dispatch = pybind11::getattr(reinterpret_cast<PyObject*>(type), "__torch_dispatch__", pybind11::none());
  if (dispatch.is_none()) return false;
  const auto name = pybind11::getattr(dispatch, "__name__", pybind11::none());
  return !pybind11::isinstance<pybind11::str>(name) || name.cast<std::string>() != "_disabled_torch_dispatch_impl";
}

// Without `api` where the type has no exchange table. The last few are remembered: nearly every call gets torch.Tensor
// and Parameter.
TensorType tensor_type(PyTypeObject* type) {
  static TensorType known[4];
  static unsigned next = 0;
  for (const TensorType& candidate : known) {
    if (candidate.type == type) return candidate;
  }
  PyObject* capsule = PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "__dlpack_c_exchange_api__");
  if (capsule == nullptr) {
    PyErr_Clear();
    return {};
  }
  const auto* api = static_cast<const ExchangeApi*>(PyCapsule_GetPointer(capsule, "dlpack_exchange_api"));
  Py_DECREF(capsule);
  if (api == nullptr) PyErr_Clear();
  while (api != nullptr && api->version.major != 1) api = api->previous;
  if (api == nullptr || api->tensor_from_object == nullptr) return {};
  const TensorType found{type, api, !has_own_dispatch(type)};
  Py_INCREF(type);
  PyTypeObject* forgotten = std::exchange(known[next++ % 4], found).type;
  Py_XDECREF(reinterpret_cast<PyObject*>(forgotten));
  return found;
}

bool set_shape(TensorView& view, int64_t dims, const int64_t* shape, const int64_t* strides) {
  if (dims > TensorView::max_dims) return false;
  view.dims = static_cast<int>(dims);
  int64_t packed = 1;
  for (int i = view.dims - 1; i >= 0; --i) {
    view.shape[i] = shape[i];
    view.strides[i] = strides != nullptr ? strides[i] : packed;
    packed *= std::max<int64_t>(shape[i], 1);
  }
  return true;
}

bool view_by_exchange(const TensorType& type, PyObject* object, TensorView& view) {
  Tensor tensor;
  if (type.api->tensor_from_object(object, &tensor) != 0) throw pybind11::error_already_set();
  const bool scalar = tensor.dtype.lanes == 1;
  if (scalar && tensor.dtype.code == code_float && tensor.dtype.bits == 32) {
    view.dtype = DType::float32;
  } else if (scalar && tensor.dtype.code == code_bfloat && tensor.dtype.bits == 16) {
    view.dtype = DType::bfloat16;
  } else {
    view.dtype_name = pybind11::str(pybind11::handle(object).attr("dtype"));
    view.other_bytes = std::max(1, tensor.dtype.bits * tensor.dtype.lanes / 8);
  }
  view.on_cpu = tensor.device.type == cpu || tensor.device.type == cuda_host;
  view.on_cuda = tensor.device.type == cuda;
  const bool readable = type.has_memory && tensor.data != nullptr;
  view.data = readable ? static_cast<char*>(tensor.data) + tensor.byte_offset : nullptr;
  return set_shape(view, tensor.ndim, tensor.shape, tensor.strides);
}

bool view_by_attributes(pybind11::handle object, TensorView& view) {
  for (const char* attribute : {"data_ptr", "dtype", "device", "shape", "stride"}) {
    if (!pybind11::hasattr(object, attribute)) return false;
  }
  view.dtype_name = pybind11::str(object.attr("dtype"));
  if (view.dtype_name == "torch.float32") view.dtype = DType::float32;
  if (view.dtype_name == "torch.bfloat16") view.dtype = DType::bfloat16;
  view.other_bytes = object.attr("dtype").attr("itemsize").cast<int>();
  const std::string device = pybind11::str(object.attr("device"));
  view.on_cpu = device == "cpu";
  view.on_cuda = device.rfind("cuda", 0) == 0;
  const pybind11::tuple shape = object.attr("shape"), strides = object.attr("stride")();
  int64_t sizes[TensorView::max_dims], steps[TensorView::max_dims];
  const auto dims = static_cast<int64_t>(shape.size());
  if (dims > TensorView::max_dims || strides.size() != shape.size()) return false;
  for (int64_t i = 0; i < dims; ++i) {
    sizes[i] = shape[static_cast<size_t>(i)].cast<int64_t>();
    steps[i] = strides[static_cast<size_t>(i)].cast<int64_t>();
  }
  const bool readable = (view.on_cpu || view.on_cuda) && !has_own_dispatch(Py_TYPE(object.ptr()));
  if (readable) view.data = reinterpret_cast<void*>(object.attr("data_ptr")().cast<uintptr_t>());
  return set_shape(view, dims, sizes, steps);
}

}  // namespace dlpack

bool view_tensor(pybind11::handle object, TensorView& view) {
  using namespace dlpack;
  const auto type = tensor_type(Py_TYPE(object.ptr()));
  if (type.api != nullptr) return view_by_exchange(type, object.ptr(), view);
  return view_by_attributes(object, view);
}

}  // namespace spinecore
