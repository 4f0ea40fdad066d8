# LAMP_GLOO: whether processes can talk to each other over torch's own c10d. torch's wheel has the library but not the
# headers of Gloo, which are Debian's libgloo-dev; those are older, so a small program of two ranks has to run first.
find_path(GLOO_INCLUDE_DIR gloo/context.h)
if(GLOO_INCLUDE_DIR AND NOT DEFINED LAMP_GLOO)
  try_run(LAMP_GLOO_RUN LAMP_GLOO_COMPILES SOURCES ${CMAKE_CURRENT_LIST_DIR}/gloo_check.cpp
          COMPILE_DEFINITIONS -DUSE_C10D_GLOO
          LINK_OPTIONS -Wl,-rpath,${LIBTORCH_DIR}/lib
          LINK_LIBRARIES LibTorch::LibTorch
          CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON)
  set(LAMP_GLOO OFF)
  if(LAMP_GLOO_COMPILES AND LAMP_GLOO_RUN EQUAL 0)
    set(LAMP_GLOO ON)
  endif()
  set(LAMP_GLOO ${LAMP_GLOO} CACHE BOOL "Runs of many processes (torch's Gloo, checked with a small program)")
endif()
if(NOT GLOO_INCLUDE_DIR)
  message(STATUS "Runs of many processes: left out, no headers of Gloo (apt-get install libgloo-dev)")
elseif(LAMP_GLOO)
  message(STATUS "Runs of many processes: yes (${GLOO_INCLUDE_DIR}/gloo)")
else()
  message(STATUS "Runs of many processes: left out, the headers in ${GLOO_INCLUDE_DIR}/gloo do not fit this torch")
endif()
