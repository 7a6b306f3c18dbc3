# label: port-in-use
#---
python -c "import asyncio,os; asyncio.run(asyncio.start_server(lambda *a: None, '127.0.0.1', int(os.environ['PORT'])))"
