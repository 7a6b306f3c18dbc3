# label: compile-error
printf '#include <string>\nint main() { std::string s = 5 + "a" + 3.0; return s; }\n' > m.cpp
#---
g++ -c m.cpp
