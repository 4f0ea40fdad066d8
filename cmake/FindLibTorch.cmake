# Finds libtorch inside the PyPI wheel: target LibTorch::LibTorch. Hint: LAMP_VENV (a virtual environment) or
# LIBTORCH_DIR (the wheel's torch folder). Only the CPU libraries are linked: libtorch_cuda.so is loaded at run time
# when a CUDA device is asked for, so that one program serves machines with and without a GPU.
find_path(LIBTORCH_DIR include/torch/csrc/api/include/torch/torch.h
          HINTS ENV LIBTORCH_DIR
          PATHS ${LAMP_VENV}/lib/python3.11/site-packages/torch ${LAMP_VENV}/lib/python3.12/site-packages/torch
                ${LAMP_VENV}/lib/python3.13/site-packages/torch ${LAMP_VENV}/lib/python3.10/site-packages/torch
          NO_DEFAULT_PATH)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch REQUIRED_VARS LIBTORCH_DIR)
if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  # LAMP's own programs find them by a relative path (lamp_relative_rpath); those that use the installed package by this.
  set(rpath "-Wl,-rpath,${LIBTORCH_DIR}/lib")
  if(COMMAND lamp_relative_rpath)
    set(rpath "")
  endif()
  file(GLOB nvidia_folders ${LIBTORCH_DIR}/../nvidia/*/lib)
  list(JOIN nvidia_folders ":" nvidia_path)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  set_target_properties(LibTorch::LibTorch PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${LIBTORCH_DIR}/include;${LIBTORCH_DIR}/include/torch/csrc/api/include"
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${LIBTORCH_DIR}/include;${LIBTORCH_DIR}/include/torch/csrc/api/include"
    INTERFACE_COMPILE_OPTIONS "-fopenmp"  # at::parallel_for runs serially in files compiled without it
    INTERFACE_LINK_LIBRARIES "${LIBTORCH_DIR}/lib/libtorch_cpu.so;${LIBTORCH_DIR}/lib/libc10.so;gomp;pthread"
    INTERFACE_LINK_OPTIONS "${rpath};-Wl,-rpath-link,${LIBTORCH_DIR}/lib:${nvidia_path}")
endif()
