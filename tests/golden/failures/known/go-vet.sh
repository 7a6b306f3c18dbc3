# label: compile-error|lint
printf 'module shop\n\ngo 1.20\n' > go.mod; printf 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Printf("%%d\\n", "x") }\n' > main.go
#---
go vet ./...
