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
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  add_compile_options(-fpch-preprocess)
endif()
if(LAMP_WERROR)
  add_compile_options(-Werror)
endif()
if(LAMP_SANITIZE)
  add_compile_options(-fsanitize=${LAMP_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${LAMP_SANITIZE})
endif()
