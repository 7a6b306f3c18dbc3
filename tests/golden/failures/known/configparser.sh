# label: uncaught-exception|syntax-error
printf 'no section\n' > setup.cfg
#---
python -c "import configparser; configparser.ConfigParser().read_file(open('setup.cfg'))"
