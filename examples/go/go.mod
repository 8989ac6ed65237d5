module example.com/rsx/server

go 1.19
