// Python's door to one backend, compiled once as _cpu and once as _cuda: addresses in, no array
// out, the GIL released. No logic: cloister/_backend has validated everything.
#include "bindings.hpp"

using namespace cloister;

namespace {

void register_rows(py::module_& m) {
  m.def("encode", [](Address rows, int64_t dtype, int64_t row_stride, int64_t n, int64_t d,
                     double radius, double target, int64_t bound, Address codes, Address valid,
                     int64_t threads, Address stream) {
    run([&] {
      encode(at<const void>(rows), static_cast<Dtype>(dtype), row_stride, n, d,
             {radius, target, bound}, at<int16_t>(codes), at<uint8_t>(valid), on(threads, stream));
    });
  });
}

void register_tallies(py::module_& m) {
  m.def("tally", [](Address codes, int64_t n, int64_t d, Address centres, int64_t k,
                    Address offsets, int64_t classes, double radius, double target, int64_t bound,
                    Address counts, Address sums, Address labels, int64_t threads, Address stream) {
    run([&] {
      tally(at<const int16_t>(codes), n, d,
            {at<const int16_t>(centres), k, at<const int64_t>(offsets), classes},
            {radius, target, bound}, at<int64_t>(counts), at<int64_t>(sums), at<int32_t>(labels),
            on(threads, stream));
    });
  });
  m.def("moments", [](Address codes, int64_t n, int64_t d, Address centres, int64_t k,
                      Address offsets, int64_t classes, double radius, double target, int64_t bound,
                      Address group, int64_t moment, Address out, int64_t threads, Address stream) {
    run([&] {
      moments(at<const int16_t>(codes), n, d,
              {at<const int16_t>(centres), k, at<const int64_t>(offsets), classes},
              {radius, target, bound}, at<const int64_t>(group), static_cast<Moment>(moment),
              at<int64_t>(out), on(threads, stream));
    });
  });
  m.def("gradient",
        [](Address codes, int64_t n, int64_t d, Address offsets, int64_t classes, Address centre,
           double row_radius, double row_target, int64_t row_bound, Address weights, double scale,
           Address bias, double residual_radius, double residual_target, int64_t residual_bound,
           Address out, int64_t threads, Address stream) {
          run([&] {
            gradient(at<const int16_t>(codes), n, d, at<const int64_t>(offsets), classes,
                     {at<const int16_t>(centre),
                      {row_radius, row_target, row_bound},
                      at<const int16_t>(weights),
                      scale,
                      at<const double>(bias),
                      {residual_radius, residual_target, residual_bound}},
                     at<int64_t>(out), on(threads, stream));
          });
        });
  m.def("bins", [](Address codes, int64_t n, int64_t d, Address projections, Address origins,
                   Address widths, Address cells, int64_t axes, Address offsets, int64_t classes,
                   Address counts, int64_t threads, Address stream) {
    run([&] {
      bins(at<const int16_t>(codes), n, d,
           {at<const int16_t>(projections), at<const int64_t>(origins), at<const int64_t>(widths),
            at<const int64_t>(cells), axes},
           at<const int64_t>(offsets), classes, at<int64_t>(counts), on(threads, stream));
    });
  });
}

void register_nearest(py::module_& m) {
  m.def("nearest", [](Address rows, int64_t n, int64_t d, Address shift, Address weights,
                      Address codes, Address scales, Address norms, Address errors, Address lists,
                      Address bounds, Address seconds, Address calls, int64_t length, int64_t call,
                      Address moved_by, Address all_moved, Address mover, int64_t movers,
                      Address is_mover, Address slack, bool recalls, bool builds, Address centres,
                      int64_t k, Address labels, Address distances, Address sums, Address counts,
                      Address moved, Address recalled, double sum_scale, double count_scale,
                      bool updates, int64_t threads, Address stream) {
    run([&] {
      nearest(
          at<const float>(rows), n, d, at<const float>(shift), at<const double>(weights),
          {at<uint8_t>(codes), at<float>(scales), at<float>(norms), at<float>(errors)},
          {at<uint16_t>(lists), at<float>(bounds), at<float>(seconds), at<int16_t>(calls), length,
           call, at<const double>(moved_by), at<const double>(all_moved), at<const int32_t>(mover),
           movers, at<const uint8_t>(is_mover), at<float>(slack), recalls, builds},
          at<const float>(centres), k,
          {at<int32_t>(labels), at<double>(distances), at<int64_t>(sums), at<int64_t>(counts),
           at<int64_t>(moved), at<int64_t>(recalled), sum_scale, count_scale, updates},
          on(threads, stream));
    });
  });
  m.def("column_ranges", [](Address rows, int64_t n, int64_t d, Address sums, Address lowest,
                            Address highest, int64_t threads, Address stream) {
    bool is_finite = false;
    run([&] {
      is_finite = column_ranges(at<const float>(rows), n, d, at<double>(sums), at<float>(lowest),
                                at<float>(highest), on(threads, stream));
    });
    return is_finite;
  });
  m.def("all_distances", [](Address rows, int64_t n, int64_t d, Address shift, Address centres,
                            int64_t k, Address out, int64_t threads, Address stream) {
    run([&] {
      all_distances(at<const float>(rows), n, d, at<const float>(shift), at<const float>(centres),
                    k, at<float>(out), on(threads, stream));
    });
  });
}

void register_closest(py::module_& m) {
  m.attr("candidate_block") = candidate_block;
  m.attr("range_rows") = range_rows;
  m.attr("most_candidates") = most_candidates;
  m.def("closest",
        [](Address rows, int64_t n, int64_t d, Address shift, Address weights, Address codes,
           Address scales, Address norms, Address errors, Address squares, Address candidates,
           int64_t count, Address nearest_so_far, Address distances, Address improved,
           Address potentials, int64_t stride, int64_t accepted, int64_t threads, Address stream) {
          run([&] {
            closest(at<const float>(rows), n, d, at<const float>(shift), at<const double>(weights),
                    {at<uint8_t>(codes), at<float>(scales), at<float>(norms), at<float>(errors)},
                    at<const int32_t>(squares), at<const float>(candidates), count,
                    {at<float>(nearest_so_far), at<float>(distances), at<uint32_t>(improved),
                     at<double>(potentials), stride, accepted},
                    on(threads, stream));
          });
        });
}

void register_samples(py::module_& m) {
  m.def("sample_mixture", [](uint64_t seed, int64_t first_row, int64_t n, int64_t d, Address means,
                             Address factors, Address scales, Address covariance_of, int64_t rank,
                             Address components, Address out, int64_t threads, Address stream) {
    run([&] {
      sample_mixture(seed, first_row, n, d,
                     {at<const float>(means), at<const float>(factors), at<const float>(scales),
                      at<const int64_t>(covariance_of), rank},
                     at<const int32_t>(components), at<float>(out), on(threads, stream));
    });
  });
}

}  // namespace

PYBIND11_MODULE(PKG_MODULE, m, py::mod_gil_not_used()) {
  register_rows(m);
  register_tallies(m);
  register_nearest(m);
  register_closest(m);
  register_samples(m);
  register_backend(m);
}
