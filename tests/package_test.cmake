# Installs the library into an empty folder, builds the example against it as a user would, outside the tree, and runs it.
# cmake -DBUILD=<build folder> -DSOURCE=<source folder> -P package_test.cmake
string(RANDOM name)
set(folder /tmp/lamp-package-${name})
if(DEFINED ENV{TMPDIR})
  set(folder $ENV{TMPDIR}/lamp-package-${name})
endif()

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result OUTPUT_VARIABLE said ERROR_VARIABLE said)
  if(NOT result EQUAL 0)
    file(REMOVE_RECURSE ${folder})
    list(JOIN ARGV " " command)
    message(FATAL_ERROR "${command}: ${result}\n${said}")
  endif()
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${folder}/prefix)
run(${folder}/prefix/bin/lamp --version)
run(${CMAKE_COMMAND} -S ${SOURCE}/examples/train_chain -B ${folder}/build -DCMAKE_PREFIX_PATH=${folder}/prefix
    -DCMAKE_BUILD_TYPE=Release)
run(${CMAKE_COMMAND} --build ${folder}/build)
run(${folder}/build/train_chain)

# The same with the one module that it needs, so without ITK.
file(WRITE ${folder}/part/CMakeLists.txt "cmake_minimum_required(VERSION 3.25)
project(part LANGUAGES CXX)
find_package(lamp REQUIRED COMPONENTS pipeline)
if(ITK_FOUND)
  message(FATAL_ERROR \"ITK was asked for\")
endif()
add_executable(part ${SOURCE}/examples/train_chain/main.cpp)
target_link_libraries(part PRIVATE lamp::lamp_pipeline)
")
run(${CMAKE_COMMAND} -S ${folder}/part -B ${folder}/part/build -DCMAKE_PREFIX_PATH=${folder}/prefix)
run(${CMAKE_COMMAND} --build ${folder}/part/build)
run(${folder}/part/build/part)
file(REMOVE_RECURSE ${folder})
