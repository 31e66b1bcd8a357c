# Yardsticks of bench/: peers that the program does not use, each built only where its library is.
if(DNNL_LIBRARY AND EXISTS ${PROJECT_SOURCE_DIR}/bench/peer_onednn.c)
  add_executable(peer_onednn EXCLUDE_FROM_ALL bench/peer_onednn.c)
  target_link_libraries(peer_onednn ${DNNL_LIBRARY})
endif()

