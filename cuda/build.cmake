# The module of device kernels, _cuda. It links the CUDA runtime statically and no other library of
# CUDA, so that it can be imported where there is no driver.
include(CheckLanguage)
check_language(CUDA)
set(missing "")
if(NOT CMAKE_CUDA_COMPILER)
  set(missing "no working nvcc was found")
else()
  # Asked before the language is enabled: an nvcc that does not know an architecture would end the
  # build there, though it was to go without.
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --version OUTPUT_VARIABLE version ERROR_QUIET)
  string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" version "${version}")
  if(NOT version OR CMAKE_MATCH_1 VERSION_LESS 12.0)
    set(missing "${CMAKE_CUDA_COMPILER} is older than CUDA 12.0")
  endif()
endif()
if(missing)
  if(CLOISTER_CUDA STREQUAL "ON")
    message(FATAL_ERROR "cloister: CLOISTER_CUDA=ON, but ${missing}; install the CUDA toolkit, set "
                        "CUDACXX, or leave CLOISTER_CUDA=AUTO to go without")
  endif()
  message(STATUS "cloister: no CUDA kernels, as ${missing}")
  return()
endif()

# Machine code for these, and PTX that drivers compile for anything newer.
set(CLOISTER_ARCHITECTURES 80 86 89 90 CACHE STRING "Compute capabilities with machine code")
list(TRANSFORM CLOISTER_ARCHITECTURES APPEND "-real" OUTPUT_VARIABLE CMAKE_CUDA_ARCHITECTURES)
list(GET CLOISTER_ARCHITECTURES -1 newest)
list(APPEND CMAKE_CUDA_ARCHITECTURES "${newest}-virtual")
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

file(GLOB DEVICE_KERNELS CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/cuda/*.cu)
python_add_library(_cuda MODULE cpp/bindings.cpp cuda/device_bindings.cpp ${DEVICE_KERNELS} WITH_SOABI)
target_compile_features(_cuda PRIVATE cxx_std_17)
list(JOIN CLOISTER_ARCHITECTURES "," names)
target_compile_definitions(_cuda PRIVATE PKG_MODULE=_cuda CLOISTER_ARCHITECTURES="${names}")
# Without contraction and with IEEE division and roots, float results are the host's bits. Warnings
# are errors where the kernels are written, not where some later nvcc installs them.
target_compile_options(_cuda PRIVATE
  $<$<COMPILE_LANGUAGE:CUDA>:--fmad=false -Xcompiler=-Wall,-Wextra>
  $<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${CLOISTER_IN_PLACE}>>:-Werror=all-warnings>
  $<$<COMPILE_LANGUAGE:CXX>:-O3 -Wall -Wextra -Wconversion -ffp-contract=off>)
set_target_properties(_cuda PROPERTIES
  CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_link_options(_cuda PRIVATE -Wl,--exclude-libs,ALL)
target_link_libraries(_cuda PRIVATE pybind11::headers CUDA::cudart_static Threads::Threads)
list(APPEND MODULES _cuda)
message(STATUS "cloister: CUDA kernels for ${names} and PTX for newer")
