# label: uncaught-exception|module-missing|file-missing
#---
python -c "import zoneinfo; zoneinfo.ZoneInfo('Europe/Nowhere')"
