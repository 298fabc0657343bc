// Memory of the calling thread that lasts as long as the thread: fresh memory costs page faults at every call.
#pragma once

#include <cstdint>

namespace spinecore {

// At least `count` floats, aligned to a page; what they hold is undefined. Valid until the same thread asks again.
// nullptr when there is no memory.
float* thread_scratch(int64_t count);

}  // namespace spinecore
