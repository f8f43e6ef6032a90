// What only the host's module offers: noise, screens that Python keeps, instruction sets.
#include "bindings.hpp"

namespace cloister {
namespace {

void register_noise(py::module_& m) {
  m.def("noise", [](Address key, uint32_t stream_id, double sigma, int64_t n, Address out,
                    int64_t threads, Address stream) {
    run([&] {
      noise(at<const uint8_t>(key), stream_id, sigma, n, at<int64_t>(out), on(threads, stream));
    });
  });
  m.def("chacha20_block", [](Address key, uint32_t counter, Address nonce, Address out) {
    chacha20_block(at<const uint8_t>(key), counter, at<const uint8_t>(nonce), at<uint8_t>(out));
  });
  m.def("judge_attempts", [](Address words, int64_t n, Address verdicts) {
    judge_attempts(at<const uint32_t>(words), n, at<uint8_t>(verdicts));
  });
}

void register_screens(py::module_& m) {
  m.def("screen_rows", [](Address rows, int64_t n, int64_t d, Address shift, Address codes,
                          Address scales, Address norms, Address errors, int64_t threads,
                          Address stream) {
    run([&] {
      screen_rows(at<const float>(rows), n, d, at<const float>(shift),
                  {at<uint8_t>(codes), at<float>(scales), at<float>(norms), at<float>(errors)},
                  on(threads, stream));
    });
  });
  m.def("screens_by_codes", &screens_by_codes);
  m.def("code_squares",
        [](Address codes, int64_t n, int64_t d, Address out, int64_t threads, Address stream) {
          run([&] {
            code_squares(at<const uint8_t>(codes), n, d, at<int32_t>(out), on(threads, stream));
          });
        });
}

void register_targets(py::module_& m) {
  m.def("target_name", &target_name);
  m.def("use_target", &use_target);
  m.def("target_supported", &target_supported);
  m.def("device_count", &device_count);
}

}  // namespace

void register_backend(py::module_& m) {
  register_noise(m);
  register_screens(m);
  register_targets(m);
}

}  // namespace cloister
