# label: file-missing|no-tests
#---
pytest tests/integration
