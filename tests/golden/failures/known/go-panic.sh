# label: crash|uncaught-exception
printf 'module shop\n\ngo 1.20\n' > go.mod; printf 'package main\n\nfunc main() { var m map[string]int; m["a"] = 1 }\n' > main.go
#---
go run .
