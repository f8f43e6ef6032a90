#include "class_products.hpp"
#include "plane_products.hpp"
#include "softmax.hpp"

namespace cloister {
namespace {

constexpr int64_t part_caches = 20;  // the scratch of a part takes so many times the cache

// What stays the same for all rows, on the device.
struct Model {
  Model(int64_t d, const int64_t* offsets_, int64_t classes_, const SoftmaxRegression& model,
        const Execution& execution)
      : classes(classes_),
        padded_d(divide_up(d, 64) * 64),
        scale(model.scale),
        row_clip(model.row_clip),
        residual_clip(model.residual_clip),
        offsets(uploaded(offsets_, classes + 1, execution)),
        centre(uploaded(model.centre, d, execution)),
        bias(uploaded(model.bias, classes, execution)),
        weights(2 * classes * padded_d, stream_of(execution)) {
    const auto own = uploaded(model.weights, classes * d, execution);
    split_weights(own.data(), classes, d, padded_d, weights.data(), execution);
  }
  int64_t classes, padded_d;
  double scale;
  Clip row_clip, residual_clip;
  Scratch<int64_t> offsets;
  Scratch<int16_t> centre;
  Scratch<double> bias;
  Scratch<int8_t> weights;
};

// What a part of the rows needs, for parts of at most `places` rows, a multiple of 64.
struct Workspace {
  Workspace(int64_t places_, int64_t d, const Model& model, const Execution& execution)
      : places(places_),
        prepared(places, execution),
        columns(planes * d * places, stream_of(execution)),
        rows(2 * model.padded_d * places, stream_of(execution)),
        products(model.classes * places, stream_of(execution)),
        exponentials(model.classes * places, stream_of(execution)),
        residuals(planes * model.classes * places, stream_of(execution)) {}

  static int64_t places_for(int64_t n, int64_t d, const Model& model) {
    const int64_t bytes = planes * d + 2 * model.padded_d + (12 + planes) * model.classes + 9;
    const int64_t fitting = part_caches * device_limits().cache_bytes / bytes;
    const int64_t most = std::clamp(fitting, places_of_tile, longest_slice);
    const int64_t whole = divide_up(n, places_of_tile) * places_of_tile;
    return std::min(most / places_of_tile * places_of_tile, whole);
  }

  int64_t places;
  PreparedRows prepared;
  Scratch<int8_t> columns, rows;
  Scratch<int32_t> products;
  Scratch<double> exponentials;
  Scratch<int8_t> residuals;
};

// The places of a part, cut so that they keep the device busy.
std::vector<PlaneSlice> slices_of_part(int64_t places, int64_t d, int64_t classes) {
  const int64_t tiles = places / places_of_tile;
  const int64_t share = divide_up(tiles, slices_at_once(classes, d, false)) * places_of_tile;
  std::vector<PlaneSlice> out;
  for (int64_t begin = 0; begin < places; begin += share) {
    out.push_back(
        {0, static_cast<int32_t>(begin), static_cast<int32_t>(std::min(begin + share, places))});
  }
  return out;
}

// Rows first .. first + count of the data set.
void add_part(const int16_t* codes, int64_t first, int64_t count, int64_t d, const Model& model,
              const Workspace& space, const Scratch<PlaneSlice>& slices, unsigned long long* out,
              const Execution& execution) {
  const int64_t tiles = divide_up(count, places_of_tile);
  const int16_t* own = codes + first * d;
  prepare_residuals(own, count, d, model.centre.data(), nullptr, model.row_clip, space.prepared,
                    execution);
  write_residual_planes({own, d, model.centre.data(), nullptr, nullptr,
                         space.prepared.factors.data(), space.prepared.steps.data(), nullptr, count,
                         space.columns.data(), space.places, space.rows.data(), model.padded_d},
                        tiles, execution);
  write_class_products({model.weights.data(), model.classes, space.rows.data(), count, space.places,
                        model.padded_d, space.products.data()},
                       execution);
  write_softmax_residuals({count, first, model.offsets.data(), model.classes, model.scale,
                           model.bias.data(), model.residual_clip, space.products.data(),
                           space.exponentials.data(), space.residuals.data(), space.places},
                          execution);
  // Places past the last row have residuals of no meaning: the rows there are zeros.
  add_plane_products({space.residuals.data(), space.columns.data(), model.classes, d, space.places,
                      false, slices.data(), tiles * places_of_tile, out},
                     slices.size(), execution);
}

}  // namespace

void gradient(const int16_t* codes, int64_t, int64_t d, const int64_t* offsets, int64_t classes,
              SoftmaxRegression regression, int64_t* out, Execution execution) {
  const int64_t first = offsets[0], n = offsets[classes] - first;
  if (n == 0) return;
  const Model model(d, offsets, classes, regression, execution);
  const Scratch<unsigned long long> totals(classes * d, stream_of(execution));
  totals.clear();
  const int64_t places = Workspace::places_for(n, d, model);
  const Workspace space(places, d, model, execution);
  const std::vector<PlaneSlice> cuts = slices_of_part(places, d, classes);
  const auto slices = uploaded(cuts.data(), static_cast<int64_t>(cuts.size()), execution);
  Pace pace(execution);
  for (int64_t i = 0; i < n; i += places) {
    add_part(codes, first + i, std::min(places, n - i), d, model, space, slices, totals.data(),
             execution);
    pace.step();
  }
  add_to_host(out, totals, execution);
}

}  // namespace cloister
