# label: variable-missing|uncaught-exception|module-missing
#---
python -c "import django; django.setup(); from django.apps import apps"
