# label: connection-refused|network
#---
python -c "import psycopg; psycopg.connect('host=127.0.0.1 port=9 dbname=orders connect_timeout=3')"
