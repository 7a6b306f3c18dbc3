# label: module-missing
printf 'module shop\n\ngo 1.20\n' > go.mod; printf 'package main\n\nimport "github.com/shop/none"\n\nfunc main() { none.X() }\n' > main.go
#---
GOFLAGS=-mod=mod GOPROXY=off go build ./...
