"""What carries out task attempts: functions, HTTP requests, nested executions, mocks. `registry.Registry` finds the handler."""
