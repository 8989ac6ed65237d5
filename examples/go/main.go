// A server from Go's standard library, for trying rsx.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	port := os.Getenv("PORT")
	if port == "" {
		port = "8103"
	}

	routes := http.NewServeMux()
	routes.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			answer(w, http.StatusNotFound, map[string]any{"error": "not found"})
			return
		}
		answer(w, http.StatusOK, map[string]any{"hello": "go", "pid": os.Getpid()})
	})
	routes.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, map[string]any{"ok": true})
	})
	routes.HandleFunc("/crash", func(w http.ResponseWriter, r *http.Request) {
		// A panic in a handler is caught by net/http; one in another goroutine ends the process with exit code 2.
		go panic("crashed on request")
	})

	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		log.Fatalf("cannot listen: %v", err)
	}
	log.Printf("go: pid %d listens on port %s", os.Getpid(), port)

	server := &http.Server{Handler: routes, ReadHeaderTimeout: 10 * time.Second}
	left := make(chan struct{})
	go func() {
		defer close(left)
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
		log.Printf("go: %v, leaving", <-signals)
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			log.Printf("go: not all answers were finished: %v", err)
		}
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	// Serve returns as soon as Shutdown begins; answers in hand are finished when it ends.
	<-left
}

func answer(w http.ResponseWriter, status int, value map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}
