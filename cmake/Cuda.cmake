# The CUDA backend (SCANGRAD_CUDA): cuda/*.cu and cuda/*.cpp join the library.

file(GLOB cuda_sources CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}" cuda/*.cu cuda/*.cpp)
set(SCANGRAD_HAS_CUDA OFF)

if(SCANGRAD_CUDA STREQUAL "AUTO")
  if(cuda_sources)
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
      set(SCANGRAD_HAS_CUDA ON)
    endif()
  endif()
elseif(SCANGRAD_CUDA)
  if(NOT cuda_sources)
    message(FATAL_ERROR "SCANGRAD_CUDA=ON, but this version has no CUDA sources (cuda/*.cu): "
      "configure with -DSCANGRAD_CUDA=OFF")
  endif()
  set(SCANGRAD_HAS_CUDA ON)
endif()

if(SCANGRAD_HAS_CUDA)
  # The GPU of this machine, else sm_90; releases pass a list: -DCMAKE_CUDA_ARCHITECTURES="90;100".
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES native)
  endif()
  enable_language(CUDA)
  if(CMAKE_CUDA_ARCHITECTURES STREQUAL "native" AND NOT CMAKE_CUDA_ARCHITECTURES_NATIVE)
    set(CMAKE_CUDA_ARCHITECTURES 90)
  endif()
  # CMake 3.25 does not know that nvcc 13 takes C++20.
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
  find_package(CUDAToolkit 12.4 REQUIRED)
  target_sources(scangrad PRIVATE ${cuda_sources})
  set_target_properties(scangrad PROPERTIES
    CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_ARCHITECTURES "${CMAKE_CUDA_ARCHITECTURES}")
  # For the tests, too, of which one file is CUDA; they share the library's runtime.
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
  # Kernels are device lambdas (cuda/launch.cuh) and call constexpr functions (std::bit_cast).
  target_compile_options(scangrad_build_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CUDA>:--extended-lambda;--expt-relaxed-constexpr>)
  if(SCANGRAD_WERROR)
    target_compile_options(scangrad_build_flags INTERFACE
      $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>)
  endif()
  target_compile_definitions(scangrad PRIVATE SCANGRAD_HAS_CUDA)
  target_link_libraries(scangrad PRIVATE CUDA::cudart CUDA::cublas CUDA::cublasLt)
endif()
