// The only file that includes ITK. It calls ITK's classes directly, without their registration by
// name, and leaves to them what they are good at: writing NRRD and MetaImage. Voxels are read on
// our side, with every checksum.
#include "lamp/formats/itk_io.h"

#include <itkMetaDataObject.h>
#include <itkMetaImageIO.h>
#include <itkNrrdImageIO.h>

#include <algorithm>
#include <iostream>
#include <mutex>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/formats/meta_image.h"
#include "lamp/formats/nrrd.h"
#include "lamp/formats/stored_data.h"
#include "lamp/formats/volume_mark.h"
#include "lamp/volume/matrix3.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

using Io = itk::ImageIOBase;

// ITK's messages run over many lines.
std::string one_line(const itk::ExceptionObject& error) {
  std::string text = error.GetDescription();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.substr(0, 200);
}

// Held during every call: the libraries below ITK keep errors and settings in global variables, and
// MetaIO writes to std::cerr what the exception then says in one line.
class ItkSession {
 public:
  ItkSession() : lock_(mutex()), stream_(std::cerr.rdbuf(nullptr)) {
    itk::Object::GlobalWarningDisplayOff();
  }
  ~ItkSession() { std::cerr.rdbuf(stream_); }
  ItkSession(const ItkSession&) = delete;
  ItkSession& operator=(const ItkSession&) = delete;

 private:
  static std::mutex& mutex() {
    static std::mutex mutex;
    return mutex;
  }

  std::lock_guard<std::mutex> lock_;
  std::streambuf* stream_;
};

bool is_nrrd(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension.size() > 1 && (extension[1] == 'n' || extension[1] == 'N');
}

Io::Pointer make_io(const fs::path& path) {
  Io::Pointer io = is_nrrd(path) ? Io::Pointer(itk::NrrdImageIO::New().GetPointer())
                                 : Io::Pointer(itk::MetaImageIO::New().GetPointer());
  io->SetFileName(path.string());
  return io;
}

void set_whole_region(Io& io) {
  itk::ImageIORegion region(io.GetNumberOfDimensions());
  for (unsigned axis = 0; axis < io.GetNumberOfDimensions(); ++axis)
    region.SetSize(axis, io.GetDimensions(axis));
  io.SetIORegion(region);
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

// ITK may overlook a full disk.
void check_written(const fs::path& path) {
  const StoredVolume written = is_nrrd(path) ? parse_nrrd(path) : parse_meta_image(path);
  read_stored_data(written.data, path);
}

}  // namespace

void write_itk(const fs::path& path, const Volume& volume, const std::string& writer) {
  const torch::Tensor voxels = volume.voxels.permute({1, 2, 3, 0}).contiguous();
  AtomicFile file(path);
  try {
    const ItkSession session;
    const Io::Pointer io = make_io(file.temporary());
    describe_to(*io, volume.geometry, volume.voxels);
    if (!writer.empty())
      itk::EncapsulateMetaData<std::string>(io->GetMetaDataDictionary(), "lamp",
                                            unsealed_mark(writer));
    io->SetUseCompression(true);
    io->SetCompressionLevel(2);
    io->Write(voxels.data_ptr());
    if (!writer.empty()) seal_file(file.temporary(), writer);
    check_written(file.temporary());
  } catch (const itk::ExceptionObject& error) {
    throw Error("cannot write: " + path.string() + ": " + one_line(error));
  } catch (const InputError&) {
    throw Error("cannot write: " + path.string() + ": the file is incomplete; is the disk full?");
  }
  file.commit();
}

}  // namespace lamp
