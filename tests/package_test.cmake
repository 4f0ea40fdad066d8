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
file(REMOVE_RECURSE ${folder})
