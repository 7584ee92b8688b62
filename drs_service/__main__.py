from drs_service.cli import main

main()
