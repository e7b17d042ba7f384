# Every include is <scangrad/core/...>, in the tree too: ${PROJECT_BINARY_DIR}/include/scangrad holds
# a link to each source folder, and the umbrella header <scangrad/scangrad.h>.

set(include_tree "${PROJECT_BINARY_DIR}/include/scangrad")
file(MAKE_DIRECTORY "${include_tree}")
foreach(folder core autograd ops cuda models train tools tests examples)
  file(CREATE_LINK "${PROJECT_SOURCE_DIR}/${folder}" "${include_tree}/${folder}" SYMBOLIC)
endforeach()

# The umbrella includes every public header, so that a new one needs no edit.
set(umbrella_includes "")
foreach(header IN LISTS public_headers)
  if(header MATCHES "\\.h$")
    string(APPEND umbrella_includes "#include <scangrad/${header}>\n")
  endif()
endforeach()
configure_file("${PROJECT_SOURCE_DIR}/cmake/scangrad.h.in" "${include_tree}/scangrad.h" @ONLY)
