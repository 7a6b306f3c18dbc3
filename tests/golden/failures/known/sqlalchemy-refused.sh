# label: connection-refused
#---
python -c "import sqlalchemy as s; s.create_engine('postgresql+psycopg://a:b@127.0.0.1:9/x').connect()"
