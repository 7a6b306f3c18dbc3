# label: test-failed
printf 'module shop\n\ngo 1.20\n' > go.mod; printf 'package shop\n\nimport "testing"\n\nfunc TestTotal(t *testing.T) { t.Fatalf("got %%d, want %%d", 3, 4) }\n' > a_test.go
#---
go test ./...
