# label: file-missing|usage|build-failed
#---
mvn -o -q package
