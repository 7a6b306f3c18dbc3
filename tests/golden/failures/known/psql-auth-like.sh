# label: connection-refused
#---
python -c "import asyncio; asyncio.run(asyncio.open_connection('127.0.0.1', 9))"
