# label: lock-outdated|module-missing|compile-error
printf 'module shop\n\ngo 1.20\n\nrequire github.com/google/uuid v1.6.0\n' > go.mod; printf 'package main\n\nimport "github.com/google/uuid"\n\nfunc main() { println(uuid.NewString()) }\n' > main.go
#---
GOFLAGS=-mod=readonly GOPROXY=off go build ./...
