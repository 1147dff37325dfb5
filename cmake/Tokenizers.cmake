# lethe::tokenizers_ffi, the Hugging Face `tokenizers` crate
# behind a C ABI (text/ffi), built by cargo.
find_program(LETHE_CARGO cargo REQUIRED)
set(_ffi_src "${PROJECT_SOURCE_DIR}/text/ffi")
set(_ffi_dir "${LETHE_DEPS}/tokenizers_ffi")
set(_ffi_lib "${_ffi_dir}/release/liblethe_tokenizers.a")
add_custom_command(
  OUTPUT "${_ffi_lib}"
  COMMAND "${LETHE_CARGO}" build --release --locked
          --quiet --manifest-path "${_ffi_src}/Cargo.toml" --target-dir "${_ffi_dir}"
  DEPENDS "${_ffi_src}/Cargo.toml" "${_ffi_src}/Cargo.lock" "${_ffi_src}/src/lib.rs"
  COMMENT "Building the tokenizers crate (about a minute, once)"
  USES_TERMINAL VERBATIM)
add_custom_target(lethe_tokenizers_build DEPENDS "${_ffi_lib}")
add_library(lethe_tokenizers_ffi STATIC IMPORTED GLOBAL)
set_target_properties(lethe_tokenizers_ffi PROPERTIES IMPORTED_LOCATION "${_ffi_lib}")
target_link_libraries(lethe_tokenizers_ffi INTERFACE Threads::Threads ${CMAKE_DL_LIBS} m)
add_dependencies(lethe_tokenizers_ffi lethe_tokenizers_build)
add_library(lethe::tokenizers_ffi ALIAS lethe_tokenizers_ffi)
