# cmake --install, and find_package(scangrad) for those who installed it.

include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/scangrad")

install(TARGETS scangrad EXPORT scangradTargets)
install(EXPORT scangradTargets NAMESPACE scangrad:: DESTINATION "${package_dir}")
foreach(header IN LISTS public_headers)
  get_filename_component(folder "${header}" DIRECTORY)
  install(FILES "${PROJECT_SOURCE_DIR}/${header}"
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/scangrad/${folder}")
endforeach()
install(FILES "${include_tree}/scangrad.h" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/scangrad")

configure_package_config_file(cmake/scangradConfig.cmake.in
  "${PROJECT_BINARY_DIR}/scangradConfig.cmake" INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/scangradConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES
  "${PROJECT_BINARY_DIR}/scangradConfig.cmake" "${PROJECT_BINARY_DIR}/scangradConfigVersion.cmake"
  cmake/FindCBLAS.cmake DESTINATION "${package_dir}")
