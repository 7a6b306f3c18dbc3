# label: library-missing|build-failed|file-missing
printf 'cmake_minimum_required(VERSION 3.10)\nproject(x NONE)\nfind_package(ShopLib REQUIRED)\n' > CMakeLists.txt
#---
cmake .
