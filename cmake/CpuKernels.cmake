# The CPU kernels, ops/cpu/*.cpp, compiled once for each x86-64 level and chosen at run time.
#
# Each level's code lives in a namespace of its own, scangrad::cpu_v3 from -DSCANGRAD_CPU_LEVEL=v3,
# and exports one function, fill_kernels(Kernels&). ops/kernels.cpp learns which levels exist from
# SCANGRAD_HAVE_CPU_V2, _V3, _V4 or _GENERIC.
#
# The namespace is not enough. An inline function or template from elsewhere (std::vector<float>::
# push_back, say) that a v4 object emits is a weak symbol, and the linker keeps any one copy for the
# whole program: an older CPU would then run AVX-512 code outside the kernels. So the objects of a
# level are linked into one, and everything in it but fill_kernels is made local (so an inline variable
# of a header is a separate copy in each level: kernels share constants only). The test
# checks/cpu_levels looks at the result.

set(default_levels generic)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set(default_levels v2 v3 v4)
endif()
set(SCANGRAD_CPU_LEVELS "${default_levels}" CACHE STRING
  "x86-64 levels that the CPU kernels are compiled for (v2;v3;v4), or generic")

# lld 14 has no --force-group-allocation, which `ld -r` needs to dissolve COMDAT groups (a local
# symbol in a group that the final link discards would be an error): GNU ld, whatever links the rest.
find_program(SCANGRAD_GNU_LD NAMES ${CMAKE_CXX_COMPILER_TARGET}-ld.bfd ld.bfd)
mark_as_advanced(SCANGRAD_GNU_LD)

# Sets `result` to one object file holding the kernels of `level`, all local but fill_kernels.
function(isolate_cpu_level level objects result)
  set(linked "${PROJECT_BINARY_DIR}/cpu_${level}.o")
  string(LENGTH "cpu_${level}" length)
  add_custom_command(OUTPUT "${linked}"
    COMMAND "${SCANGRAD_GNU_LD}" -r --force-group-allocation -o "${linked}" ${objects}
    COMMAND "${CMAKE_OBJCOPY}" --wildcard
      "--keep-global-symbol=_ZN8scangrad${length}cpu_${level}12fill_kernels*" "${linked}"
    DEPENDS ${objects} COMMAND_EXPAND_LISTS VERBATIM
    COMMENT "Joining the CPU kernels for x86-64-${level}")
  set_source_files_properties("${linked}" PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  set(${result} "${linked}" PARENT_SCOPE)
endfunction()

# Adds the kernels of every level to `library`.
function(add_cpu_kernels library)
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/ops/cpu/*.cpp")
  if(NOT sources)
    return()
  endif()
  # Sanitizers keep their own tables of symbols; such a build stays on the machine that made it.
  set(isolate OFF)
  if(SCANGRAD_GNU_LD AND CMAKE_OBJCOPY AND NOT SCANGRAD_SANITIZE)
    set(isolate ON)
  endif()
  list(LENGTH SCANGRAD_CPU_LEVELS level_count)
  if(NOT isolate AND level_count GREATER 1)
    list(GET SCANGRAD_CPU_LEVELS 0 SCANGRAD_CPU_LEVELS)
    message(WARNING "GNU ld.bfd and objcopy, without sanitizers, are needed to build the CPU kernels "
      "for several levels: building for ${SCANGRAD_CPU_LEVELS} alone")
  endif()

  foreach(level IN LISTS SCANGRAD_CPU_LEVELS)
    set(kernels scangrad_cpu_${level})
    add_library(${kernels} OBJECT ${sources})
    target_include_directories(${kernels} PRIVATE "${PROJECT_BINARY_DIR}/include")
    target_link_libraries(${kernels} PRIVATE scangrad_build_flags OpenMP::OpenMP_CXX CBLAS::CBLAS)
    target_compile_definitions(${kernels} PRIVATE SCANGRAD_CPU_LEVEL=${level})
    # NaN and Inf must survive, so never -ffast-math; errno and traps are of no use here, and in the
    # way of vectorisation.
    target_compile_options(${kernels} PRIVATE
      -fno-math-errno -fno-trapping-math -ffp-contract=fast -fopenmp-simd)
    # `omp simd` is a wish, and clang warns of each one that it does not grant.
    target_compile_options(${kernels} PRIVATE $<$<CXX_COMPILER_ID:Clang>:-Wno-pass-failed>)
    # Isolation: link-time optimisation would undo it, and "unique" symbols cannot be made local.
    target_compile_options(${kernels} PRIVATE
      -fno-lto $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>)
    set(objects "$<TARGET_OBJECTS:${kernels}>")
    if(NOT level STREQUAL "generic")
      target_compile_options(${kernels} PRIVATE -march=x86-64-${level})
      if(isolate)
        isolate_cpu_level(${level} "${objects}" objects)
        set_property(TARGET ${library} APPEND PROPERTY isolated_cpu_levels "${objects}")
      endif()
    endif()
    target_sources(${library} PRIVATE ${objects})

    string(TOUPPER ${level} LEVEL)
    set_property(SOURCE "${PROJECT_SOURCE_DIR}/ops/kernels.cpp" TARGET_DIRECTORY ${library}
      APPEND PROPERTY COMPILE_DEFINITIONS SCANGRAD_HAVE_CPU_${LEVEL})
  endforeach()
endfunction()
