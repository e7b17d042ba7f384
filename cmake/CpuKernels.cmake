# The CPU kernels, ops/cpu/*.cpp, compiled once for each x86-64 level and chosen at run time.
#
# Each level's code lives in a namespace of its own, scangrad::cpu_v3 from -DSCANGRAD_CPU_LEVEL=v3,
# and exports one function, fill_kernels. ops/kernels.cpp learns which levels exist from
# SCANGRAD_HAVE_CPU_V2, _V3, _V4 or _GENERIC.

set(default_levels generic)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set(default_levels v2 v3 v4)
endif()
set(SCANGRAD_CPU_LEVELS "${default_levels}" CACHE STRING
  "x86-64 levels that the CPU kernels are compiled for (v2;v3;v4), or generic")

function(scangrad_cpu_kernels library)
  file(GLOB kernel_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/ops/cpu/*.cpp")
  if(NOT kernel_sources)
    return()
  endif()
  foreach(level IN LISTS SCANGRAD_CPU_LEVELS)
    set(objects scangrad_cpu_${level})
    add_library(${objects} OBJECT ${kernel_sources})
    target_include_directories(${objects} PRIVATE "${PROJECT_BINARY_DIR}/include")
    target_link_libraries(${objects} PRIVATE scangrad_build_flags OpenMP::OpenMP_CXX CBLAS::CBLAS)
    target_compile_definitions(${objects} PRIVATE SCANGRAD_CPU_LEVEL=${level})
    # NaN and Inf must survive, so never -ffast-math; errno and traps are of no use here, and in the
    # way of vectorisation.
    target_compile_options(${objects} PRIVATE
      $<$<CONFIG:Release>:-O3> -fno-math-errno -fno-trapping-math -ffp-contract=fast -fopenmp-simd)
    if(NOT level STREQUAL "generic")
      target_compile_options(${objects} PRIVATE -march=x86-64-${level})
    endif()
    target_sources(${library} PRIVATE $<TARGET_OBJECTS:${objects}>)
    string(TOUPPER ${level} LEVEL)
    set_property(SOURCE "${PROJECT_SOURCE_DIR}/ops/kernels.cpp" TARGET_DIRECTORY ${library}
      APPEND PROPERTY COMPILE_DEFINITIONS SCANGRAD_HAVE_CPU_${LEVEL})
  endforeach()
endfunction()
