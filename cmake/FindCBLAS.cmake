# FindCBLAS: the target CBLAS::CBLAS, a BLAS with the C interface (cblas.h).
#
# Debian and Ubuntu install one OpenBLAS build per threading model side by side. The OpenMP build
# comes first, since it shares the thread pool of our own loops; the pthread build works too.

find_path(CBLAS_INCLUDE_DIR cblas.h
  PATH_SUFFIXES openblas-openmp openblas-pthread openblas-serial openblas)
find_library(CBLAS_LIBRARY NAMES openblaso openblas cblas
  PATH_SUFFIXES openblas-openmp openblas-pthread openblas-serial openblas)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CBLAS REQUIRED_VARS CBLAS_LIBRARY CBLAS_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "install OpenBLAS with its headers (Debian, Ubuntu: libopenblas-dev)")
mark_as_advanced(CBLAS_INCLUDE_DIR CBLAS_LIBRARY)

if(CBLAS_FOUND AND NOT TARGET CBLAS::CBLAS)
  add_library(CBLAS::CBLAS UNKNOWN IMPORTED)
  set_target_properties(CBLAS::CBLAS PROPERTIES
    IMPORTED_LOCATION "${CBLAS_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${CBLAS_INCLUDE_DIR}")
endif()
