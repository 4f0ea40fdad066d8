# lamp_module(<name> SOURCES a.cpp... DEPS other modules... LINK libraries...): one static library for a folder of
# src/lamp, named lamp_<name>, installed as lamp::lamp_<name> and gathered by lamp::lamp.
function(lamp_module name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPS;LINK;PRIVATE_LINK")
  set(target lamp_${name})
  add_library(${target} STATIC ${arg_SOURCES})
  add_library(lamp::${target} ALIAS ${target})
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
                                              $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(${target} PUBLIC cxx_std_20)
  list(TRANSFORM arg_DEPS PREPEND lamp_)
  target_link_libraries(${target} PUBLIC ${arg_DEPS} ${arg_LINK} LibTorch::LibTorch
                        PRIVATE ${arg_PRIVATE_LINK})
  lamp_precompile(${target})
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${LAMP_UNITY} UNITY_BUILD_BATCH_SIZE 16)
  set_property(GLOBAL APPEND PROPERTY LAMP_MODULES ${target})
endfunction()

# Every target reuses one precompiled header of torch's tensors, which cost each source file 10 s without it. Not torch/torch.h:
# its templates wait to be instantiated, which takes 6 s more in every file that loads them, used or not.
function(lamp_precompile target)
  if(NOT TARGET lamp_pch)
    file(WRITE ${PROJECT_BINARY_DIR}/pch.cpp "// holds the precompiled torch header\n")
    add_library(lamp_pch OBJECT ${PROJECT_BINARY_DIR}/pch.cpp)
    target_link_libraries(lamp_pch PRIVATE LibTorch::LibTorch)
    target_precompile_headers(lamp_pch PRIVATE <torch/types.h> <torch/utils.h>)
  endif()
  target_precompile_headers(${target} REUSE_FROM lamp_pch)
endfunction()

# lamp_tests(<room> SOURCES a_test.cpp... LINK modules... [LABELS ...] [TIMEOUT s]): one GoogleTest program <room>_tests,
# each of its cases a CTest test. A program a room, since each is linked with torch and reads its headers.
function(lamp_tests room)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "SOURCES;LINK;LABELS")
  set(target ${room}_tests)
  add_executable(${target} ${arg_SOURCES})
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests
                                             UNITY_BUILD ${LAMP_UNITY} UNITY_BUILD_BATCH_SIZE 6)
  list(TRANSFORM arg_LINK PREPEND lamp_)
  target_link_libraries(${target} PRIVATE ${arg_LINK} LibTorch::LibTorch GTest::gmock GTest::gtest_main)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests ${PROJECT_SOURCE_DIR}/src)
  target_compile_definitions(${target} PRIVATE LAMP_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/reference"
                                               LAMP_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                               LAMP_PYTHON="${LAMP_VENV}/bin/python"
                                               LAMP_PROGRAM="${PROJECT_BINARY_DIR}/lamp")
  lamp_precompile(${target})
  lamp_relative_rpath(${target} ${PROJECT_BINARY_DIR}/tests)
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS default)  # an empty value would swallow the next property's name
  endif()
  gtest_discover_tests(${target} DISCOVERY_TIMEOUT 60
                       PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}" ENVIRONMENT OMP_NUM_THREADS=2)
endfunction()

# lamp_embed_presets(<folder> HEADER <file> TEXT <function> NAMES <function>): writes presets.cpp, in which the functions that
# <file> declares give the JSON files of <folder>, each a name and its text.
function(lamp_embed_presets folder)
  cmake_parse_arguments(LAMP_PRESET "" "HEADER;TEXT;NAMES" "" ${ARGN})
  set(LAMP_PRESET_FOLDER ${folder})
  set(LAMP_PRESET_ROWS "")
  file(GLOB presets CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.json)
  foreach(preset IN LISTS presets)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${preset})
    cmake_path(GET preset STEM name)
    file(READ ${preset} text)
    string(APPEND LAMP_PRESET_ROWS "    {\"${name}\", R\"preset(${text})preset\"},\n")
  endforeach()
  configure_file(${CMAKE_CURRENT_FUNCTION_LIST_DIR}/presets.cpp.in presets.cpp @ONLY)
endfunction()
