# Compiler settings that every target shares. They are the same everywhere because the precompiled header demands it.
if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(CCACHE ccache)
  if(CCACHE)
    # Without this sloppiness ccache never hits where a precompiled header is in use.
    set(CMAKE_CXX_COMPILER_LAUNCHER
        ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
        CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} ${CCACHE})
  endif()
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")  # -O3 gains nothing here: the arithmetic is torch's
add_compile_options(-fPIC -Wall -Wextra -Wno-unknown-pragmas
                    -Wno-missing-field-initializers  # designated initialisers leave the rest to their defaults
                    -Wno-stringop-overflow -Wno-restrict)  # false alarms of GCC 12 inside std::string
# __FILE__, which torch's checks print, without the builder's folders. (-ffile-prefix-map would also rename the sources that
# a debugger looks for.)
add_compile_options(-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  add_compile_options(-fpch-preprocess)
endif()
# Files from strangers are parsed here: whatever a mistake may do, it does not become a way in.
add_compile_options(-fstack-protector-strong -fstack-clash-protection)
add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack)
if(NOT LAMP_SANITIZE)
  add_compile_options($<$<CONFIG:Release>:-U_FORTIFY_SOURCE> $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=2>)
endif()
if(LAMP_WERROR)
  add_compile_options(-Werror)
endif()
if(LAMP_SANITIZE)
  add_compile_options(-fsanitize=${LAMP_SANITIZE} -fno-omit-frame-pointer)
  add_compile_options(-Wno-maybe-uninitialized)  # false alarms of GCC 12 in std::regex and torch's headers
  add_link_options(-fsanitize=${LAMP_SANITIZE})
endif()

# A program finds torch's libraries from where it lies itself, so that a build folder may be moved with its virtual
# environment, and nowhere else: the path that CMake would make by itself is absolute and ends in empty entries, which
# mean the current folder.
function(lamp_relative_rpath target folder)  # folder: where the program lies
  file(RELATIVE_PATH relative ${folder} ${LIBTORCH_DIR}/lib)
  set_target_properties(${target} PROPERTIES BUILD_WITH_INSTALL_RPATH TRUE INSTALL_RPATH "\$ORIGIN/${relative}")
endfunction()
