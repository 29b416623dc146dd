package server

import (
	"github.com/labstack/echo/v4"
)

func text(name string) param   { return param{name: name, kind: "string"} }
func flag(name string) param   { return param{name: name, kind: "boolean"} }
func number(name string) param { return param{name: name, kind: "integer"} }
func choice(name string, words ...string) param {
	return param{name: name, kind: "string", words: words}
}
func jsonText(name string) param { return param{name: name, kind: "json"} }
func file(name string) param     { return param{name: name, kind: "file"} }
func need(p param) param         { p.needed = true; return p }

const (
	jsonType  = "application/json"
	fileType  = "application/octet-stream"
	partsType = "multipart/form-data"
	htmlType  = "text/html"
)

// table returns every route, in the order of the pages made from it.
func (s *Server) table() []route {
	var all []route
	for _, part := range [][]route{s.inferRoutes(), s.storeRoutes(), s.taskRoutes(), s.loopRoutes(), s.selectionRoutes(), s.eventRoutes(), s.otherRoutes(), s.pageRoutes()} {
		all = append(all, part...)
	}
	return all
}

func (s *Server) inferRoutes() []route {
	where := []param{text("image"), text("session_id")}
	with := func(p param) []param { return append(where[:2:2], p) }
	return []route{
		{method: "GET", path: "/info/", handle: s.info, tag: "App", summary: "Name, models, labels, strategies, counts", answers: jsonType},
		{
			method: "POST", path: "/infer/:model", handle: s.infer, tag: "Inference", summary: "Segment an image",
			query: with(choice("output", inferOutputs...)), body: "form",
			fields: []param{jsonText("params"), file("file"), file("label")}, answers: partsType,
		},
		{
			method: "POST", path: "/infer/wsi/:model", handle: s.wsi, tag: "Inference", summary: "Segment an image, whole-slide form",
			query: with(choice("output", wsiOutputs...)), body: "json", answers: jsonType, old: true,
		},
		{
			method: "POST", path: "/infer/wsi_v2/:model", handle: s.wsiForm, tag: "Inference", summary: "Segment an image, whole-slide form",
			query: with(choice("output", wsiOutputs...)), body: "form", fields: []param{jsonText("wsi"), file("file")}, answers: jsonType,
		},
		{
			method: "POST", path: "/activelearning/:strategy", handle: s.nextSample, tag: "Next sample",
			summary: "The image to label next", body: "json", answers: jsonType,
		},
	}
}

func (s *Server) storeRoutes() []route {
	const tag = "Data store"
	image := []param{need(text("image"))}
	label := []param{need(text("label")), need(text("tag"))}
	upload := []param{jsonText("params"), need(file("file"))}
	sum := text("check_sum")
	imagePut := func(path string, old bool) route {
		return route{
			method: "PUT", path: path, handle: s.imagePut, tag: tag, summary: "Add or replace an image",
			query: []param{text("image")}, body: "form", fields: upload, answers: jsonType, old: old,
		}
	}
	imageDelete := func(path string, old bool) route {
		return route{
			method: "DELETE", path: path, handle: s.imageDelete, tag: tag, summary: "Remove an image and its labels",
			query: []param{need(text("id"))}, answers: jsonType, old: old,
		}
	}
	infoPut := func(path, field string, old bool) route {
		return route{
			method: "PUT", path: path, handle: s.labelInfoPut(field), tag: tag, summary: "Merge into a label's info",
			query: label, body: "form", fields: []param{jsonText(field)}, answers: jsonType, old: old,
		}
	}
	return []route{
		{
			method: "GET", path: "/datastore/", handle: s.datastoreGet, tag: tag, summary: "Counts, the whole index, or pairs to train on",
			query: []param{choice("output", "train", "stats", "all")}, answers: jsonType,
		},
		imagePut("/datastore/", true),
		imageDelete("/datastore/", true),
		imagePut("/datastore/image", false),
		imageDelete("/datastore/image", false),
		{
			method: "HEAD", path: "/datastore/image", handle: s.imageHead, tag: tag, summary: "Whether an image is there",
			query: []param{need(text("image")), sum}, answers: jsonType,
		},
		{method: "GET", path: "/datastore/image", handle: s.imageGet, tag: tag, summary: "An image's file", query: image, answers: fileType},
		{method: "GET", path: "/datastore/image/info", handle: s.imageInfo, tag: tag, summary: "An image's info", query: image, answers: jsonType},
		{
			method: "PUT", path: "/datastore/image/info", handle: s.imageInfoPut, tag: tag, summary: "Merge into an image's info",
			query: image, body: "form", fields: []param{jsonText("info")}, answers: jsonType,
		},
		{
			method: "PUT", path: "/datastore/label", handle: s.labelPut, tag: tag, summary: "Save a label",
			query: []param{need(text("image")), text("tag")}, body: "form", fields: []param{jsonText("params"), need(file("label"))}, answers: jsonType,
		},
		{
			method: "DELETE", path: "/datastore/label", handle: s.labelDelete, tag: tag, summary: "Remove a label",
			query: []param{need(text("id")), need(text("tag"))}, answers: jsonType,
		},
		{
			method: "HEAD", path: "/datastore/label", handle: s.labelHead, tag: tag, summary: "Whether a label is there",
			query: []param{need(text("image")), need(text("tag")), sum}, answers: jsonType,
		},
		{method: "GET", path: "/datastore/label", handle: s.labelGet, tag: tag, summary: "A label's file", query: label, answers: fileType},
		{method: "GET", path: "/datastore/label/info", handle: s.labelInfo, tag: tag, summary: "A label's info", query: label, answers: jsonType},
		infoPut("/datastore/label/info", "info", false),
		infoPut("/datastore/updatelabelinfo", "params", true),
		{
			method: "GET", path: "/datastore/dataset", handle: s.dataset, tag: tag, summary: "Labelled images and labels as a ZIP archive",
			query: []param{number("limit_cases")}, answers: fileType,
		},
	}
}

func (s *Server) taskRoutes() []route {
	t := s.app.Tasks()
	status, sync := []param{flag("all"), flag("check_if_running")}, flag("run_sync")
	row := func(tag, method, path string, handle echo.HandlerFunc, summary string, query ...param) route {
		r := route{method: method, path: path, handle: handle, tag: tag, summary: summary, query: query, answers: jsonType}
		if method == "POST" {
			r.body = "json"
		}
		return r
	}
	return []route{
		row("Training", "GET", "/train/", taskStatus(t.Train, s.trainObject), "The latest, the running or all training tasks", status...),
		row("Training", "POST", "/train/", s.trainAll, "Start a task for every trainer", sync),
		row("Training", "DELETE", "/train/", taskStop(t.Train), "Stop the running task"),
		row("Training", "POST", "/train/:model", s.train, "Start a training task", sync, flag("enqueue")),
		row("Scoring", "GET", "/scoring/", taskStatus(t.Scoring, nil), "The latest, the running or all scoring tasks", status...),
		row("Scoring", "POST", "/scoring/", s.scoreAll, "Start a task for every scoring method", sync),
		row("Scoring", "DELETE", "/scoring/", taskStop(t.Scoring), "Stop the running task"),
		row("Scoring", "POST", "/scoring/:method", s.score, "Start a scoring task", sync),
		row("Batch inference", "GET", "/batch/infer", taskStatus(t.Batch, nil), "The latest, the running or all batch tasks", status...),
		row("Batch inference", "DELETE", "/batch/infer", taskStop(t.Batch), "Stop the running task"),
		row("Batch inference", "POST", "/batch/infer/:model", s.batch, "Start a batch task",
			choice("images", "all", "labeled", "unlabeled"), sync),
	}
}

func (s *Server) otherRoutes() []route {
	const session, model = "Sessions", "Model files"
	act := func(what string, handle echo.HandlerFunc, summary string, query ...param) route {
		return route{method: "POST", path: "/model/:model/" + what, handle: handle, tag: model, summary: summary, query: query, answers: jsonType}
	}
	return []route{
		{
			method: "PUT", path: "/session/", handle: s.sessionPut, tag: session, summary: "Make a temporary image",
			query: []param{flag("uncompress"), number("expiry")}, body: "form", fields: []param{need(file("files"))}, answers: jsonType,
		},
		{
			method: "GET", path: "/session/:session_id", handle: s.sessionGet, tag: session, summary: "A session, or its image",
			query: []param{flag("update_ts"), flag("image")}, answers: jsonType,
		},
		{method: "DELETE", path: "/session/:session_id", handle: s.sessionDelete, tag: session, summary: "Remove a session", answers: jsonType},
		{method: "GET", path: "/model/:model", handle: s.modelGet, tag: model, summary: "A model's network", answers: fileType},
		{
			method: "PUT", path: "/model/:model", handle: s.modelPut, tag: model, summary: "A new version of a model: its network, and other files of its folder",
			query: []param{text("reason")}, body: "form", fields: []param{need(file("file")), file("manifest"), file("files")}, answers: jsonType,
		},
		{method: "DELETE", path: "/model/:model", handle: s.modelDelete, tag: model, summary: "Take the version in service out of it; the app's own serves again", answers: jsonType},
		{method: "GET", path: "/model/info/:model", handle: s.modelInfo, tag: model, summary: "Checksum and time of a model's network", answers: jsonType},
		{method: "GET", path: "/model/:model/versions", handle: s.modelVersions, tag: model, summary: "Versions of a model and the history of swaps", answers: jsonType},
		act("publish", s.modelPublish, "Put a version into service", need(text("version")), text("reason")),
		act("rollback", s.modelRollback, "Put the version before into service", text("reason")),
		act("pin", s.modelPin(true), "Keep a version for ever; no training replaces it", need(text("version"))),
		act("unpin", s.modelPin(false), "Keep a version no longer than others", need(text("version"))),
		act("retire", s.modelRetire, "Delete a version, or those that the policy no longer keeps", text("version")),
	}
}

func (s *Server) pageRoutes() []route {
	const page, probe, other = "Pages", "Operation", "Viewers"
	metrics := echo.WrapHandler(metricsHandler(s.opts.Metrics))
	return []route{
		{method: "GET", path: "/", handle: s.home, tag: page, summary: "Status", answers: htmlType},
		{method: "GET", path: "/docs", handle: s.docs, tag: page, summary: "This list", answers: htmlType},
		{method: "GET", path: "/openapi.json", handle: s.openAPIDoc, tag: page, summary: "This list for machines", answers: jsonType},
		{method: "GET", path: "/favicon.ico", handle: s.icon, tag: page, summary: "The icon", answers: "image/x-icon"},
		{method: "GET", path: "/healthz", handle: s.healthz, tag: probe, summary: "Whether the process lives", answers: jsonType},
		{
			method: "GET", path: "/readyz", handle: s.readyz, tag: probe, summary: "Whether requests are served; models=1 waits for the models",
			query: []param{flag("models")}, answers: jsonType,
		},
		{method: "GET", path: "/metrics", handle: metrics, tag: probe, summary: "Metrics in Prometheus' text form", answers: "text/plain"},
		{
			method: "GET", path: "/logs/", handle: s.logs, tag: probe, summary: "The last lines of the log",
			query: []param{number("lines"), flag("html"), flag("text"), number("refresh")}, answers: htmlType,
		},
		{method: "GET", path: "/logs/gpu", handle: s.gpuLog, tag: probe, summary: "What nvidia-smi says", answers: "text/plain"},
		{method: "POST", path: "/reload", handle: s.reload, tag: probe, summary: "Kept for clients: the studies are followed without it", old: true, answers: jsonType},
		{method: "GET", path: "/ohif/*", handle: s.ohif, tag: other, summary: "The OHIF viewer, which is not part of this server", answers: jsonType},
		{method: "GET", path: "/proxy/dicom/*", handle: s.proxy, tag: other, summary: "A DICOMweb server behind the studies, of which there is none", answers: jsonType},
		{method: "POST", path: "/proxy/dicom/*", handle: s.proxy, tag: other, summary: "A DICOMweb server behind the studies, of which there is none", answers: jsonType},
	}
}
