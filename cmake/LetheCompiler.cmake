# Compiler settings and the three functions that every room's CMakeLists.txt uses.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

set(LETHE_SANITIZER "" CACHE STRING "asan (with UBSan), tsan, or empty")

add_library(lethe_options INTERFACE)
target_compile_options(lethe_options INTERFACE
  -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers
  -Werror=unused-result -Werror=return-type -Werror=switch)
target_include_directories(lethe_options INTERFACE "${PROJECT_SOURCE_DIR}")

if(LETHE_SANITIZER STREQUAL "asan")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1 -g1)
  add_link_options(-fsanitize=address,undefined)
elseif(LETHE_SANITIZER STREQUAL "tsan")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer -O1 -g1)
  add_link_options(-fsanitize=thread)
elseif(NOT LETHE_SANITIZER STREQUAL "")
  message(FATAL_ERROR "LETHE_SANITIZER is '${LETHE_SANITIZER}': use asan, tsan or leave it empty")
endif()

find_program(LETHE_MOLD mold)
if(LETHE_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# lethe_library(NAME SRCS a.cc ... [DEPS public...] [PRIVATE_DEPS private...])
function(lethe_library name)
  cmake_parse_arguments(L "" "" "SRCS;DEPS;PRIVATE_DEPS" ${ARGN})
  if(L_SRCS)
    add_library(${name} STATIC ${L_SRCS})
    target_link_libraries(${name} PUBLIC ${L_DEPS} lethe_options PRIVATE ${L_PRIVATE_DEPS})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE ${L_DEPS} lethe_options)
  endif()
endfunction()

# lethe_binary(NAME SRCS a.cc ... DEPS ...): goes to <build>/bin. The target lethe_binaries builds
# all but the benchmarks: what ./dev demo and the end-to-end tests run.
add_custom_target(lethe_binaries)
function(lethe_binary name)
  cmake_parse_arguments(L "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${L_SRCS})
  target_link_libraries(${name} PRIVATE ${L_DEPS} lethe_options)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  if(NOT name MATCHES "^bench_")
    add_dependencies(lethe_binaries ${name})
  endif()
endfunction()

# lethe_test(NAME SRCS a_test.cc ... DEPS ... [LABELS fast|engine|service|fault|e2e ...]
#            [TIMEOUT seconds] [NEEDS binary...])
# NEEDS: programs that the test starts; they are built with it.
# One ctest entry per binary; labels choose what `./dev test` runs
# (fast: under a minute in all, no torch).
function(lethe_test name)
  cmake_parse_arguments(L "" "TIMEOUT" "SRCS;DEPS;LABELS;ARGS;NEEDS" ${ARGN})
  add_executable(${name} ${L_SRCS})
  target_link_libraries(${name} PRIVATE ${L_DEPS} lethe_options GTest::gtest_main GTest::gmock)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
  add_test(NAME ${name} COMMAND ${name} ${L_ARGS} WORKING_DIRECTORY "${PROJECT_BINARY_DIR}")
  if(L_NEEDS)
    add_dependencies(${name} ${L_NEEDS})
  endif()
  if(NOT L_TIMEOUT)
    set(L_TIMEOUT 300)
  endif()
  # Tests share the cores: LibTorch's threads must not spin while they wait (engine/device.h).
  set_tests_properties(${name} PROPERTIES TIMEOUT ${L_TIMEOUT} LABELS "${L_LABELS}"
    ENVIRONMENT "OMP_WAIT_POLICY=PASSIVE")
  if(L_LABELS MATCHES "e2e|fault")  # several processes or threads under load: two slots of ctest -j
    set_tests_properties(${name} PROPERTIES PROCESSORS 2)
  endif()
endfunction()
