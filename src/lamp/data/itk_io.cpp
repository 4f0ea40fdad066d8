// The only file that includes ITK. It calls ITK's readers directly, without their registration by
// name, and hands on nothing that they have not earned: sizes, checksums and geometry are checked
// on our side.
#include "lamp/data/itk_io.h"

#include <gdcmTrace.h>
#include <itkGDCMImageIO.h>
#include <itkGDCMSeriesFileNames.h>
#include <itkMetaImageIO.h>
#include <itkNrrdImageIO.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/text.h"
#include "lamp/data/grid_check.h"
#include "lamp/data/gzip.h"
#include "lamp/data/matrix3.h"
#include "lamp/data/stored_data.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

using Io = itk::ImageIOBase;

[[noreturn]] void refuse(const fs::path& path, const std::string& detail) {
  throw InputError("cannot read", path.string(), detail);
}

// ITK's messages run over many lines; the last one that says something is the cause.
std::string one_line(const itk::ExceptionObject& error) {
  std::string text = error.GetDescription();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.substr(0, 200);
}

// The libraries below ITK keep error messages and settings in global variables.
std::unique_lock<std::mutex> lock_itk() {
  static std::mutex mutex;
  std::unique_lock<std::mutex> lock(mutex);
  itk::Object::GlobalWarningDisplayOff();
  gdcm::Trace::WarningOff();
  gdcm::Trace::ErrorOff();
  gdcm::Trace::DebugOff();
  return lock;
}

bool is_nrrd(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension.size() > 1 && (extension[1] == 'n' || extension[1] == 'N');
}

StoredData locate(const fs::path& path) {
  return is_nrrd(path) ? locate_nrrd_data(path) : locate_meta_data(path);
}

Io::Pointer make_io(const fs::path& path) {
  Io::Pointer io = is_nrrd(path) ? Io::Pointer(itk::NrrdImageIO::New().GetPointer())
                                 : Io::Pointer(itk::MetaImageIO::New().GetPointer());
  io->SetFileName(path.string());
  return io;
}

// By size and sign rather than by name: ITK's "long" has no fixed size.
VoxelType voxel_type(const Io& io, const fs::path& path) {
  const bool large = io.GetComponentSize() == 8;
  switch (io.GetComponentType()) {
    case Io::IOComponentEnum::UCHAR:
      return VoxelType::kUInt8;
    case Io::IOComponentEnum::CHAR:
      return VoxelType::kInt8;
    case Io::IOComponentEnum::USHORT:
      return VoxelType::kUInt16;
    case Io::IOComponentEnum::SHORT:
      return VoxelType::kInt16;
    case Io::IOComponentEnum::UINT:
    case Io::IOComponentEnum::ULONG:
    case Io::IOComponentEnum::ULONGLONG:
      return large ? VoxelType::kUInt64 : VoxelType::kUInt32;
    case Io::IOComponentEnum::INT:
    case Io::IOComponentEnum::LONG:
    case Io::IOComponentEnum::LONGLONG:
      return large ? VoxelType::kInt64 : VoxelType::kInt32;
    case Io::IOComponentEnum::FLOAT:
      return VoxelType::kFloat32;
    case Io::IOComponentEnum::DOUBLE:
      return VoxelType::kFloat64;
    default:
      refuse(path, "voxels of a type that is no number; convert the image");
  }
}

Geometry geometry_of(const Io& io) {
  Geometry grid;
  for (unsigned axis = 0; axis < 3; ++axis) {
    grid.size[axis] = static_cast<std::int64_t>(io.GetDimensions(axis));
    grid.spacing_mm[axis] = io.GetSpacing(axis);
    grid.origin_mm[axis] = io.GetOrigin(axis);
    const std::vector<double> along = io.GetDirection(axis);
    set_column(grid.direction, static_cast<int>(axis), {along.at(0), along.at(1), along.at(2)});
  }
  return grid;
}

RawVolume header_of(Io& io, const fs::path& path, const ReadOptions& options) {
  io.ReadImageInformation();
  if (io.GetNumberOfDimensions() != 3) {
    refuse(path, std::to_string(io.GetNumberOfDimensions()) +
                     "-D, expected a 3-D image (channels as vectors); save one image per file");
  }
  RawVolume raw{.geometry = geometry_of(io),
                .channels = static_cast<std::int64_t>(io.GetNumberOfComponents()),
                .type = voxel_type(io, path),
                .interleaved = true};
  check_grid(raw.geometry, options, path.string());
  return raw;
}

void set_whole_region(Io& io) {
  itk::ImageIORegion region(io.GetNumberOfDimensions());
  for (unsigned axis = 0; axis < io.GetNumberOfDimensions(); ++axis)
    region.SetSize(axis, io.GetDimensions(axis));
  io.SetIORegion(region);
}

RawVolume read_checked(const fs::path& path, const ReadOptions& options, bool with_voxels) {
  const StoredData data = locate(path);
  with_voxels ? check_stored_data(data, path) : check_stored_size(data, path);
  if (!data.has_spacing)
    log_warning("no voxel spacing in the file, 1 mm assumed: " + path.string());
  const auto lock = lock_itk();
  try {
    const Io::Pointer io = make_io(path);
    RawVolume raw = header_of(*io, path, options);
    const std::int64_t bytes = raw.geometry.voxels() * raw.channels * bytes_of(raw.type);
    if (bytes != data.bytes) refuse(path, "its header contradicts itself; the header is damaged");
    if (!with_voxels) return raw;
    raw.bytes.resize(static_cast<std::size_t>(bytes));
    set_whole_region(*io);
    io->Read(raw.bytes.data());
    return raw;
  } catch (const itk::ExceptionObject& error) {
    refuse(path, one_line(error));
  }
}

Io::IOComponentEnum component_of(const torch::Tensor& voxels) {
  switch (voxels.scalar_type()) {
    case torch::kUInt8:
      return Io::IOComponentEnum::UCHAR;
    case torch::kInt16:
      return Io::IOComponentEnum::SHORT;
    case torch::kInt32:
      return Io::IOComponentEnum::INT;
    case torch::kFloat32:
      return Io::IOComponentEnum::FLOAT;
    default:
      TORCH_CHECK(false, "cannot write voxels of type ", voxels.scalar_type());
  }
}

void describe_to(Io& io, const Geometry& grid, const torch::Tensor& voxels) {
  io.SetNumberOfDimensions(3);
  for (unsigned axis = 0; axis < 3; ++axis) {
    io.SetDimensions(axis, static_cast<itk::SizeValueType>(grid.size[axis]));
    io.SetSpacing(axis, grid.spacing_mm[axis]);
    io.SetOrigin(axis, grid.origin_mm[axis]);
    const Vector3 along = column(grid.direction, static_cast<int>(axis));
    io.SetDirection(axis, std::vector<double>(along.begin(), along.end()));
  }
  io.SetComponentType(component_of(voxels));
  io.SetNumberOfComponents(static_cast<unsigned>(voxels.size(0)));
  io.SetPixelType(voxels.size(0) == 1 ? itk::IOPixelEnum::SCALAR : itk::IOPixelEnum::VECTOR);
  set_whole_region(io);
}

// One file of a series.
struct Slice {
  std::string file;
  Geometry grid;
  VoxelType type = VoxelType::kInt16;
  double position_mm = 0;  // along the stack
};

Vector3 normal_of(const Geometry& grid) {
  const Vector3 u = column(grid.direction, 0), v = column(grid.direction, 1);
  return {u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]};
}

double dot(const Vector3& a, const Vector3& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

bool looks_like_dicom(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::array<char, 132> start{};
  return stream.read(start.data(), start.size()) && std::string(start.data() + 128, 4) == "DICM" &&
         path.filename() != "DICOMDIR";
}

// The files of the folder's only series. A DICOM file that is not among them is damaged or
// something else: never passed over in silence, as it may be a slice.
std::vector<std::string> series_files(const fs::path& folder) {
  const auto names = itk::GDCMSeriesFileNames::New();
  names->SetUseSeriesDetails(false);
  names->SetGlobalWarningDisplay(false);
  names->SetDirectory(folder.string());
  const std::vector<std::string> series = names->GetSeriesUIDs();
  if (series.empty()) refuse(folder, "no DICOM image in the folder; name a folder of slices");
  if (series.size() > 1) {
    std::string found;
    for (const auto& uid : series) found += (found.empty() ? "" : ", ") + uid;
    refuse(folder, std::to_string(series.size()) + " series in the folder (" + found +
                       "), expected one; move each to a folder of its own");
  }
  const std::vector<std::string> files = names->GetFileNames(series.front());
  std::set<fs::path> known;
  for (const auto& file : files) known.insert(fs::path(file).filename());
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && !known.contains(entry.path().filename()) &&
        looks_like_dicom(entry.path()))
      refuse(entry.path(),
             "a DICOM file that is no readable slice of the series beside it; get it "
             "again or move it away");
  }
  return files;
}

// The voxels of a slice are a claim of its header: no codec of DICOM's expands more than deflate
// does.
void check_slice(const Io& io, const std::string& file) {
  if (io.GetNumberOfComponents() != 1) refuse(file, "colour voxels, expected one value per voxel");
  if (io.GetNumberOfDimensions() > 2 && io.GetDimensions(2) > 1)
    refuse(file, "several frames in one DICOM file; convert it to NIfTI");
  const auto bytes = checked_product({static_cast<std::int64_t>(io.GetDimensions(0)),
                                      static_cast<std::int64_t>(io.GetDimensions(1)),
                                      static_cast<std::int64_t>(io.GetComponentSize())});
  const auto most = static_cast<std::int64_t>(fs::file_size(file) * kMaxExpansion);
  if (!bytes || *bytes > most) refuse(file, "its header claims more voxels than it can hold");
}

Slice read_slice_header(const std::string& file) {
  const auto io = itk::GDCMImageIO::New();
  io->SetFileName(file);
  io->ReadImageInformation();
  check_slice(*io, file);
  Slice slice{.file = file, .grid = geometry_of(*io), .type = voxel_type(*io, file)};
  slice.grid.size[2] = 1;
  slice.position_mm = dot(normal_of(slice.grid), slice.grid.origin_mm);
  return slice;
}

void check_same_plane(const Slice& first, const Slice& slice) {
  Geometry a = first.grid, b = slice.grid;
  a.origin_mm = b.origin_mm = {0, 0, 0};
  if (corner_distance_voxels(a, b) <= kSameGridVoxels) return;
  refuse(slice.file, "size, spacing or orientation differ from " +
                         fs::path(first.file).filename().string() +
                         " (a localizer?); move it to a folder of its own");
}

// The stack's grid from its sorted slices.
Geometry stacked(const std::vector<Slice>& slices, const fs::path& folder) {
  const auto count = static_cast<std::int64_t>(slices.size());
  if (count < 2) refuse(folder, "one slice, expected 2 or more");
  std::vector<double> gaps;
  for (std::size_t k = 1; k < slices.size(); ++k)
    gaps.push_back(slices[k].position_mm - slices[k - 1].position_mm);
  std::vector<double> sorted = gaps;
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
  const double usual = sorted[sorted.size() / 2];
  for (std::size_t k = 0; k < gaps.size(); ++k) {
    if (std::abs(gaps[k] - usual) <= 0.01 * usual) continue;
    refuse(folder, "slices " + fs::path(slices[k].file).filename().string() + " and " +
                       fs::path(slices[k + 1].file).filename().string() + " are " +
                       fixed(gaps[k], 3) + " mm apart, the others " + fixed(usual, 3) +
                       (gaps[k] > usual ? " mm: a slice is missing" : " mm: a slice too many") +
                       "; export the series again");
  }
  Geometry grid = slices.front().grid;
  grid.size[2] = count;
  Vector3 step;
  for (int r = 0; r < 3; ++r)
    step[r] =
        (slices.back().grid.origin_mm[r] - grid.origin_mm[r]) / static_cast<double>(count - 1);
  grid.spacing_mm[2] = norm(step);
  for (double& s : step) s /= grid.spacing_mm[2];
  set_column(grid.direction, 2, step);  // a tilted gantry shows here as shear
  return grid;
}

std::vector<Slice> sorted_slices(const fs::path& folder) {
  std::vector<Slice> slices;
  for (const std::string& file : series_files(folder)) slices.push_back(read_slice_header(file));
  for (const Slice& slice : slices) check_same_plane(slices.front(), slice);
  std::stable_sort(slices.begin(), slices.end(),
                   [](const Slice& a, const Slice& b) { return a.position_mm < b.position_mm; });
  return slices;
}

// A slice's values as float32 bytes: the scaling, which ITK applies, may differ from slice to
// slice.
std::string slice_values(const Slice& slice) {
  const auto io = itk::GDCMImageIO::New();
  io->SetFileName(slice.file);
  io->ReadImageInformation();
  set_whole_region(*io);
  RawVolume raw{.geometry = slice.grid, .type = slice.type};
  raw.bytes.resize(static_cast<std::size_t>(io->GetImageSizeInBytes()));
  io->Read(raw.bytes.data());
  const Volume values = to_image(raw, {.refuse_nan = false}, slice.file);
  return {static_cast<const char*>(values.voxels.data_ptr()), values.voxels.nbytes()};
}

RawVolume read_series(const fs::path& folder, const ReadOptions& options, bool with_voxels) {
  const auto lock = lock_itk();
  std::string file = folder.string();
  try {
    const std::vector<Slice> slices = sorted_slices(folder);
    RawVolume raw{.geometry = stacked(slices, folder), .type = VoxelType::kFloat32};
    check_grid(raw.geometry, options, folder.string());
    if (!with_voxels) return raw;
    for (const Slice& slice : slices) {
      file = slice.file;
      raw.bytes += slice_values(slice);
    }
    return raw;
  } catch (const itk::ExceptionObject& error) {
    refuse(file, one_line(error));
  } catch (const fs::filesystem_error& error) {
    refuse(file, error.code().message());
  }
}

}  // namespace

RawVolume read_itk(const fs::path& path, const ReadOptions& options) {
  return read_checked(path, options, true);
}

VolumeHeader read_itk_header(const fs::path& path, const ReadOptions& options) {
  const RawVolume raw = read_checked(path, options, false);
  return {raw.geometry, raw.channels};
}

void write_itk(const fs::path& path, const Volume& volume) {
  const torch::Tensor voxels = volume.voxels.permute({1, 2, 3, 0}).contiguous();
  AtomicFile file(path);
  try {
    const auto lock = lock_itk();
    const Io::Pointer io = make_io(file.temporary());
    describe_to(*io, volume.geometry, volume.voxels);
    io->SetUseCompression(true);
    io->SetCompressionLevel(2);
    io->Write(voxels.data_ptr());
    check_stored_data(locate(file.temporary()), file.temporary());  // ITK may overlook a full disk
  } catch (const itk::ExceptionObject& error) {
    throw Error("cannot write: " + path.string() + ": " + one_line(error));
  } catch (const InputError&) {
    throw Error("cannot write: " + path.string() + ": the file is incomplete; is the disk full?");
  }
  file.commit();
}

RawVolume read_dicom(const fs::path& folder, const ReadOptions& options) {
  return read_series(folder, options, true);
}

VolumeHeader read_dicom_header(const fs::path& folder, const ReadOptions& options) {
  const RawVolume raw = read_series(folder, options, false);
  return {raw.geometry, raw.channels};
}

}  // namespace lamp
