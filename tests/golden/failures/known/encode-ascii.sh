# label: encoding
#---
PYTHONIOENCODING=ascii python -c "print('\u00e9t\u00e9')"
