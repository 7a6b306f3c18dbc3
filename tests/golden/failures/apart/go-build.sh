# label: compile-error
printf 'module shop\n\ngo 1.20\n' > go.mod; printf 'package main\n\nfunc main() {\n\tx := 1\n\tfmt.Println("hi")\n}\n' > main.go
#---
go build ./...
