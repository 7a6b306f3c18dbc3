# label: yaml-syntax|syntax-error|build-failed|infrastructure
printf 'resource "x" {\n' > main.tf
#---
terraform init -no-color
